"""The command line: one script `bombyx` for every role that is installed.

The commands of all roles are entry points of the group `bombyx.commands`; this package imports none
of the roles, and none of the commands until one is asked for.
"""
