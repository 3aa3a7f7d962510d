"""Where state lives: databases behind the platform's ports for state, and places for files."""
