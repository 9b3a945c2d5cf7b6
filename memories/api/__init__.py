"""The REST API: views, serializers, parameters, errors and live streams."""
