"""What people see of an experiment's figures: tables, plots and one page; nothing is measured here."""
