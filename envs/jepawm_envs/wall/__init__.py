"""The Wall task: physics, drawing, scripted controllers and the environment."""
