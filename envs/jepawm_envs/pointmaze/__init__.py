"""The PointMaze tasks: layouts, physics, drawing, scripted controllers and the environment."""
