"""The admin as operators meet it: unfold's theme, a first page that says how things are, a menu in plain words."""
