"""Virtual order, parallel gradients: values computed ahead on Ray actors. Imports the Ray fleet."""
