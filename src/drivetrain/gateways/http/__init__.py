"""What every gateway needs of HTTP: one application for all of them, authentication, addresses, files, errors, metrics."""
