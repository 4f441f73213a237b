"""Who is who: what was seen of subjects, how likely two are one person, and who belongs together."""
