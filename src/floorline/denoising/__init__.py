"""Pictures and videos from noise: a text is encoded, a transformer takes steps, a decoder makes pixels."""
