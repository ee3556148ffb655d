"""What both daemons need and neither owns; no word of the domain lives here."""
