"""The files that a run leaves in its folder, and how it is resumed from them."""
