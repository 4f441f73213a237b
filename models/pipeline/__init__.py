"""`edge-models train CONFIG`: data → features → train → calibrate → quantise → evaluate → card → sign.

A step is a function from files to files. Each is chosen by name, cached by the hash of all that it depends on, and
replaceable by one's own, written `package.module:function`.
"""
