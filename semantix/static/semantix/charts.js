// Axes from zero, also where all is zero: the library's own would be from -1 to 1. The theme draws the charts later.
Chart.defaults.scales.linear.suggestedMin = 0;
Chart.defaults.scales.linear.suggestedMax = 1;
