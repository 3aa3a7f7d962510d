"""drivetrain's own API, below ``/api/v1``: everything that the platform can do, as JSON. The commands are its first client."""
