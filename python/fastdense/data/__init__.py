"""Data: conversion and checks of what a user passes as x, y and weights, before any work is done."""
