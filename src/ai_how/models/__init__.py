"""Models: conversion between formats."""
