"""The Two Rooms task: physics, sampler, drawing, scripted controllers, behaviour data and the environment."""
