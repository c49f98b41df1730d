"""Tables, pictures and the page of an invariance study."""
