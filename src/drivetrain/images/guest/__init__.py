"""What runs inside a container, each file by itself, with nothing but the standard library."""
