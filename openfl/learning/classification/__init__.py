"""Labels of rows of numbers: multinomial logistic regression."""
