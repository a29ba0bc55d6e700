"""What requests and answers look like: pydantic models, which are the OpenAPI document as well."""
