"""Frozen image encoders: DINOv2, DINOv3, V-JEPA 1 and V-JEPA 2 behind one interface.

Every encoder turns a batch of images into one latent per patch; the world models read these tokens and never
change the encoder.  The networks themselves come from timm and transformers; what lives here is how an image is
prepared, how the published weight files are read, and the rules the published world models were trained with.
"""
