"""Where runners run. Only here is anything known of processes; see ``drivetrain.platform.fleet`` for what is promised."""
