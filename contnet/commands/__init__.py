"""The commands: from a command line to objects, and from errors to one line. Hydra lives here."""
