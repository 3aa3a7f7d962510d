"""Read Python source without running it: names, constants, annotations, parameters."""
