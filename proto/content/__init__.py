"""Content as data: one spelling for values, the indicator index, check forms, file names."""
