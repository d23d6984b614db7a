"""fastbench: how fast does this machine turn JPEGs into predictions, and are they still right?"""
