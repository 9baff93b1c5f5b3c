"""Labels of rows of numbers, by multinomial logistic regression."""
