"""Recordings of neurons: spike times and ready-made words, from arrays, files and other libraries' objects.

``secateur.words`` turns what was recorded into binary words ``(bins, units)``.
"""
