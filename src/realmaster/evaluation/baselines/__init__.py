"""Methods to compare with: plug-ins that turn a rendered clip into their version of it, on the render's own grid."""
