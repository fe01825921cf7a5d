"""The Push-T task: block shapes, physics, drawing, scripted pushers and the environment."""
