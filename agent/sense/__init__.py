"""The privileged half: sensors, matching, posture, sealing; no IP network, the signing key."""
