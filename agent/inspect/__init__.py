"""The worker that reads what strangers wrote: no key, no capability, no network, no files."""
