"""A client for registries that speak the OCI distribution protocol."""
