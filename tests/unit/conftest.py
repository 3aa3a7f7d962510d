"""Examples that are searched for have no deadline: how long one takes says more about the machine than about the code."""

from hypothesis import settings

settings.register_profile("drivetrain", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("drivetrain")
