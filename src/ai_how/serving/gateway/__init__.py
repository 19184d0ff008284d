"""The one authenticated door: it speaks the OpenAI and the Ollama API and routes to replicas.

:func:`~ai_how.serving.gateway.app.create_app` makes what answers; :mod:`~ai_how.serving.gateway.door`
speaks HTTP to clients and :mod:`~ai_how.serving.gateway.upstream` to replicas;
``python -m ai_how.serving.gateway`` runs it.
"""
