"""The one authenticated door: it speaks the OpenAI and the Ollama API and routes to replicas.

:func:`~ai_how.serving.gateway.app.create_app` makes the ASGI application;
``python -m ai_how.serving.gateway`` runs it.
"""
