"""The privileged half: sensors, matching, posture, sealing. No IP network; holds the signing key."""
