"""What is told to a person in one line, without a traceback."""


class UserError(Exception):
    """Something in the input or the surroundings that the user can mend; the message names it and the mend."""
