"""`python -m coordinator.reference`: writes the coordinator's part of the page of metrics."""

from coordinator.families import FAMILIES
from firmware_configs import families

if __name__ == "__main__":
    families.write("coordinator", FAMILIES)
