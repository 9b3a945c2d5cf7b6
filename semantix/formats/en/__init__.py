"""English formats. Django imports the module `formats` of this package."""
