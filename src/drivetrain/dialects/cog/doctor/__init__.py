"""What can be told of a Cog project without running it: named checks, each a pure function of what was read and of its host."""
