"""Making world models: data, losses, loop and recipes."""
