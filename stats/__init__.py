"""Statistics for studies in which a patient may have several images. All functions take arrays and return numbers."""
