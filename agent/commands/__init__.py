"""One module a command of ``vedette-agent``; each is imported when it is asked for."""
