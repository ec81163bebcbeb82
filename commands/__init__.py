"""The commands of `vidette`: a module each, or one for two that belong together.

What a command does not need is imported in none: `vidette --help` takes 0.3 s.
"""
