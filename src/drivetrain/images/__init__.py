"""From a project to an OCI image, and from there to registries and container engines; without a daemon where none is needed."""
