"""What a machine is: parameters, structure, energy, exact sums, mean field; and the door that checks what is given."""
