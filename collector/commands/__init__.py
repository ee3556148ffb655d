"""One module a command of ``vedette-collector``; each is imported when it is asked for."""
