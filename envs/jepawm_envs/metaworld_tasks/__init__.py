"""The 42 Metaworld tasks: names, simulator, scripted experts, behaviour data and the environment."""
