"""Files read and written: scans, label maps, landmarks, displacement fields."""
