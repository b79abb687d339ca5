"""One module for each stage's commands: functions of the stage's configuration, and what people see of the result."""
